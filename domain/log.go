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

// LogEntry is an accepted message that MySQL may not have yet, or the recall of one that is stored or stands before it.
type LogEntry struct {
	ID string // of the entry in its log
	Message
	Recall *Recall // set in a recall: there is no Message
}

// Unlogged parts entries into messages and recalls.
func Unlogged(entries []LogEntry) (messages []Message, recalls []Recall) {
	messages = make([]Message, 0, len(entries))
	for i := range entries {
		if r := entries[i].Recall; r != nil {
			recalls = append(recalls, *r)
		} else {
			messages = append(messages, entries[i].Message)
		}
	}
	return messages, recalls
}
