"""What is written to disk: messages, atomic files, and the text form ``name(arg=value)`` of a choice."""
