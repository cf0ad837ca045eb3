"""The Kubernetes API as triage uses it: raw JSON in, evidence out, and a Lease among replicas."""
