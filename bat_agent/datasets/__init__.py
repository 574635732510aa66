"""Data sets in the released layout of SpatialSoundQA, which anyone can make again: RIRs, and questions about sounds.

RIRs, in the order of the work: ``plan`` (what is made, from which random numbers), ``tasks`` (one piece of it, done
anywhere), ``placements`` (several in one room), ``engines`` (here, in processes, on Ray), ``rirs`` (the driver, which
writes and resumes), ``layout`` (files and JSON), ``replay`` (makes them again), ``stats`` (what is in a set).

Questions: ``archives`` and ``store`` (files, wherever they lie), ``spatialsoundqa`` (records), ``released_audio`` (what
they sound like), ``draw_qa`` and ``motion`` (what is asked about what), ``qa`` and ``qa_files`` (write a set),
``check`` (verifies it), ``qa_stats`` (what it gives away). ``clip_lists`` and ``audioset`` curate the recordings.
"""
