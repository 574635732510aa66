"""Sets of room impulse responses in the released layout of SpatialSoundQA, which anyone can make again.

The files in the order of the work: ``plan`` (what is made, from which random numbers), ``tasks`` (one piece of it, done
anywhere), ``placements`` (several in one room), ``engines`` (here, in processes, on Ray), ``rirs`` (the driver, which
writes and resumes), ``layout`` (files and JSON), ``replay`` (makes them again), ``stats`` (what is in a set).
"""
