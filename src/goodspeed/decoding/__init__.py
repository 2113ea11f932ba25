"""What the target would say: sampling, coupled noise, the three acceptance rules, the one-process reference."""
