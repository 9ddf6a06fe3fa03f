package domain

// DeadLetter is an accepted message that MySQL refused to store: its seq is a hole, and it is kept to be tried again.
type DeadLetter struct {
	Message
	Reason    string // why it was refused, without anything of its content
	CreatedMS int64  // when it was put aside
}
