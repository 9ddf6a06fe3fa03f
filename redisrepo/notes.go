package redisrepo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

const (
	notesKept = 200 // of a user; older ones are trimmed
	notesTTL  = 24 * time.Hour

	trimmedReason = "too much has changed, reconnect"
)

// Tell adds a note to each user's; see domain.Notes. After an error some have theirs; after a lost reply a user may have
// his twice.
func (s *Store) Tell(ctx context.Context, notes map[string]domain.Note) error {
	calls := make([]scriptCall, 0, len(notes))
	for user, note := range notes {
		p := s.cfg.Partitions.Of(user)
		joined, left := "", ""
		switch note.Kind {
		case domain.NoteJoined:
			joined = note.Group
		case domain.NoteLeft:
			left = note.Group
		}
		args := []any{notesKept, notesTTL.Milliseconds(), userChannel(p, user), joined, left}
		calls = append(calls, scriptCall{keys: []string{notesKey(p, user), mineKey(p, user)}, args: append(args, noteFields(note)...)})
	}
	if _, err := s.runEach(ctx, noteScript, calls); err != nil {
		return fmt.Errorf("tell %d users: %w", len(notes), err)
	}
	return nil
}

// noteFields are the fields that are set, each with its value.
func noteFields(n domain.Note) []any {
	fields := []any{"k", string(n.Kind)}
	add := func(name, value string) {
		if value != "" {
			fields = append(fields, name, value)
		}
	}
	number := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	add("g", n.Group)
	add("a", number(n.After))
	add("v", number(n.Version))
	add("e", string(n.Event))
	add("c", n.Conn)
	add("o", number(int64(n.Code)))
	add("r", n.Reason)
	return fields
}

// Since reads the notes behind the last ones known; see domain.Notes. Where notes were trimmed that the reader has
// not seen, a NoteClose stands for all of them.
func (s *Store) Since(ctx context.Context, last map[string]string) (map[string][]domain.Note, error) {
	users := make(map[string]string, len(last)) // by the keys of their notes
	keys, ids := make(map[int][]string), make(map[int][]string)
	for user, id := range last {
		p := s.cfg.Partitions.Of(user)
		if id == "" {
			id = "0-0"
		}
		key := notesKey(p, user)
		users[key] = user
		keys[p], ids[p] = append(keys[p], key), append(ids[p], id)
	}
	streams, err := s.readStreams(ctx, keys, ids)
	if err != nil {
		return nil, fmt.Errorf("notes of %d users: %w", len(last), err)
	}
	found := make(map[string][]domain.Note, len(streams))
	for _, stream := range streams {
		user := users[stream.Stream]
		if found[user], err = notes(stream.Messages); err != nil {
			return nil, fmt.Errorf("notes of %s: %w", user, err)
		}
	}
	return found, nil
}

// readStreams reads what is behind ids, with one command a partition.
func (s *Store) readStreams(ctx context.Context, keys, ids map[int][]string) (streams []redis.XStream, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	pipe := s.rdb.Pipeline()
	var cmds []*redis.XStreamSliceCmd
	for p := range keys {
		cmds = append(cmds, pipe.XRead(ctx, &redis.XReadArgs{Streams: slices.Concat(keys[p], ids[p]), Count: notesKept, Block: -1}))
	}
	if err := execIgnoringNil(ctx, pipe); err != nil {
		return nil, err
	}
	for _, c := range cmds {
		streams = append(streams, c.Val()...)
	}
	return streams, nil
}

// notes are the entries of a stream behind the reader's id. If they are as many as are kept, the reader is behind
// the first of them, and may be behind trimmed ones.
func notes(entries []redis.XMessage) ([]domain.Note, error) {
	if len(entries) >= notesKept {
		last := entries[len(entries)-1].ID
		return []domain.Note{{Kind: domain.NoteClose, ID: last, Code: domain.CloseServerError, Reason: trimmedReason}}, nil
	}
	list := make([]domain.Note, len(entries))
	for i, e := range entries {
		var err error
		if list[i], err = note(e); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func note(e redis.XMessage) (domain.Note, error) {
	get := func(name string) string {
		s, _ := e.Values[name].(string)
		return s
	}
	var failed error
	number := func(name string) int64 {
		if get(name) == "" {
			return 0
		}
		n, err := strconv.ParseInt(get(name), 10, 64)
		if err != nil {
			failed = fmt.Errorf("note %s: %s: %w", e.ID, name, err)
		}
		return n
	}
	n := domain.Note{
		ID: e.ID, Kind: domain.NoteKind(get("k")), Group: get("g"), After: number("a"), Version: number("v"),
		Conn: get("c"), Code: int(number("o")), Reason: get("r"),
	}
	if event := get("e"); event != "" {
		n.Event = []byte(event)
	}
	return n, failed
}
