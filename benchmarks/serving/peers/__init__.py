"""What users would run in our place, each a server in processes of its own. Imports nothing of ours."""
