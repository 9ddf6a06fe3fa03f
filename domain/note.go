package domain

import (
	"context"
	"strconv"
	"strings"
)

// NoteKind is what a note says.
type NoteKind string

const (
	NoteJoined NoteKind = "joined" // the user is in Group now: his connections are due every message behind After
	NoteLeft   NoteKind = "left"   // he is not any more
	NoteClose  NoteKind = "close"  // his connection Conn ("": all opened before) ends with Code
)

// Note is what a user's connections have to learn, on whatever instance, even if pub/sub fails at that moment. Notes
// lie in order in Redis for a day; the channel of the user only tells that there are new ones.
type Note struct {
	ID    string // place among the user's notes, made by Redis: <ms>-<n>
	Kind  NoteKind
	Group string
	After int64
	// Version of the group when the user came or went: notes may come in another order than the changes.
	Version int64
	Event   []byte // joined, left: the event group; nil for none
	Conn    string
	Code    int
	Reason  string
}

// Notes keeps the notes of users.
type Notes interface {
	// Tell adds a note to each user's and wakes his connections' instances.
	Tell(ctx context.Context, notes map[string]Note) error
	// Since reads the notes behind the id given for each user, in order; users without new ones are left out.
	Since(ctx context.Context, last map[string]string) (map[string][]Note, error)
}

// NoteAfter reports whether the note a lies behind the note b; "" lies before all.
func NoteAfter(a, b string) bool {
	aMS, aN := splitNoteID(a)
	bMS, bN := splitNoteID(b)
	return aMS > bMS || aMS == bMS && aN > bN
}

func splitNoteID(id string) (ms, n int64) {
	first, second, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseInt(first, 10, 64) // 0 for what Redis did not make: before all
	n, _ = strconv.ParseInt(second, 10, 64)
	return ms, n
}
