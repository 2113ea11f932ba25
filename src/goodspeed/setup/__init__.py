"""Setting up verifiers and drafters on machines of their own: certificates, credentials, configuration, and checks."""
