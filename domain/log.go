package domain

// LogRange names the write-behind log of one partition's generation.
type LogRange struct {
	Partition int
	Gen       int64
}

// LogBatch is a run of entries of one log.
type LogBatch struct {
	LogRange
	Entries []LogEntry
	Dead    []LogEntry // those of Entries that were refused: MySQL has dead letters and holes in their place
}

// LogEntry is an accepted message that MySQL may not have yet.
type LogEntry struct {
	ID string // of the entry in its log
	Message
}
