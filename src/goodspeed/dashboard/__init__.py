"""The live page: a small web server that reads verifiers and drafters and shows what they do."""
