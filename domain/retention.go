package domain

// Expiry asks for the oldest messages of a group to be deleted.
type Expiry struct {
	Group string
	Gen   int64 // of the group's partition; once that one is over, nothing is deleted
	UpTo  int64 // no message above; what is below and is not old enough stays, and all above that
}
