"""Tool calls in the text of a model: found and parsed as the text comes, in the format that the model was taught."""
