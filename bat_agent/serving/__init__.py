"""``bat-agent serve``: ears in a process of their own, for programs that cannot or will not load torch."""
