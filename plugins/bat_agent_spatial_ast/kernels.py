"""The constant kernels of the front-end, as the released layout stores them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bat_agent.sound import features


class FourierKernels(nn.Module):
    """The released layout stores the STFT as two convolution kernels; they are constants, the FFT computes the same."""

    def __init__(self, stored: bool) -> None:
        super().__init__()
        if stored:
            turn = torch.outer(torch.arange(features.NUM_BINS), torch.arange(features.N_FFT)) % features.N_FFT
            angle = turn.double() * (2 * torch.pi / features.N_FFT)
            window = features.hann_window().double()
            self.conv_real = _kernel((angle.cos() * window)[:, None])
            self.conv_imag = _kernel((-angle.sin() * window)[:, None])


class MelKernel(nn.Module):
    """The mel filterbank, stored in the released layout."""

    melW: Tensor

    def __init__(self, stored: bool) -> None:
        super().__init__()
        self.register_buffer("melW", features.mel_filterbank().clone(), persistent=stored)


def _kernel(weight: Tensor) -> nn.Module:
    module = nn.Module()
    module.register_buffer("weight", weight.float())
    return module
