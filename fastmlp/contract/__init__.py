"""What the two backends share: the operations, and how parameters lie in memory."""
