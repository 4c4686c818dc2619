"""What a job is: specification, record, states, result, and their bytes. No input or output."""
