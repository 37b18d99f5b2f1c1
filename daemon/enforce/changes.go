package enforce

// changes is what a reader of policies would call the difference between what is enforced and a candidate.
func changes(old, c *Candidate) []Change {
	return nil
}
