"""The compiler proposer: PyTorch to tensor programs (level 1), to schedules (level 2), to C++."""
