"""POST /v1/responses, without state: a request has the whole conversation, and nothing is stored."""
