package redisrepo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

const (
	keepRecent = 1000
	idleTTL    = 7 * 24 * time.Hour
)

// ReadLogs reads up to limit entries from the start of each log, in one round trip.
func (s *Store) ReadLogs(ctx context.Context, logs []domain.LogRange, limit int) ([][]domain.LogEntry, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.XMessageSliceCmd, len(logs))
	for i, l := range logs {
		cmds[i] = pipe.XRangeN(ctx, logKey(l.Partition, l.Gen), "-", "+", int64(limit))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read %d logs: %w", len(logs), err)
	}
	entries := make([][]domain.LogEntry, len(logs))
	for i, l := range logs {
		for _, m := range cmds[i].Val() {
			e, err := logEntry(m, l.Gen)
			if err != nil {
				return nil, fmt.Errorf("log entry %s of partition %d: %w", m.ID, l.Partition, err)
			}
			entries[i] = append(entries[i], e)
		}
	}
	return entries, nil
}

func logEntry(m redis.XMessage, gen int64) (domain.LogEntry, error) {
	get := func(name string) string {
		s, _ := m.Values[name].(string)
		return s
	}
	if seq := get("recall"); seq != "" {
		r, err := recallOf(get("group"), []string{seq, get("ms"), get("by")})
		r.Gen = gen
		return domain.LogEntry{ID: m.ID, Recall: r}, err
	}
	header, err := domain.ParseHeader([]byte(get("h")))
	if err != nil {
		return domain.LogEntry{}, err
	}
	e := domain.LogEntry{ID: m.ID, Message: domain.Message{
		Group: get("g"), Gen: gen, GroupType: domain.GroupType(get("y")),
		Header: header, Body: []byte(get("b")), Hash: get("x"),
	}}
	if e.Seq, err = strconv.ParseInt(get("s"), 10, 64); err != nil {
		return domain.LogEntry{}, fmt.Errorf("seq: %w", err)
	}
	if e.TimeMS, err = strconv.ParseInt(get("t"), 10, 64); err != nil {
		return domain.LogEntry{}, fmt.Errorf("time: %w", err)
	}
	return e, nil
}

// Committed takes entries whose rows are committed off their logs and raises the watermarks, in one round trip, or two where
// they mention somebody. Doing it again changes nothing.
func (s *Store) Committed(ctx context.Context, batches []domain.LogBatch) error {
	var commits, forget []scriptCall
	for _, b := range batches {
		keys, args := commitArguments(b)
		commits = append(commits, scriptCall{keys, args})
		forget = append(forget, s.forgetMentions(b)...)
	}
	if _, err := s.runEach(ctx, commitScript, commits); err != nil {
		return fmt.Errorf("take committed entries off %d logs: %w", len(batches), err)
	}
	if _, err := s.runEach(ctx, mentionedScript, forget); err != nil {
		return fmt.Errorf("forget mentions in %d groups: %w", len(forget), err)
	}
	return nil
}

func commitArguments(b domain.LogBatch) (keys []string, args []any) {
	marks := make(map[string]int64)
	var recalls []*domain.Recall
	for _, e := range b.Entries {
		if e.Recall != nil {
			recalls = append(recalls, e.Recall)
		} else {
			marks[e.Group] = max(marks[e.Group], e.Seq)
		}
	}
	p, gen := b.Partition, b.Gen
	keys = make([]string, 0, 4+3*len(marks)+2*len(b.Dead)+2*len(recalls))
	keys = append(keys, genKey(p), logKey(p, gen), persistedKey(p, gen), recallingKey(p, gen))
	args = make([]any, 0, 7+2*len(marks)+2*len(b.Dead)+2*len(recalls)+len(b.Entries))
	args = append(args, gen, keepRecent, idleTTL.Milliseconds(), persistedChannel(p), len(marks), len(b.Dead), len(recalls))
	for group, mark := range marks {
		keys = append(keys, recentKey(p, gen, group), readKey(p, gen, group), recalledKey(p, gen, group))
		args = append(args, group, mark)
	}
	for _, e := range b.Dead { // a send without a client_id has a key of another name, which is gone within a minute
		keys = append(keys, recentKey(p, gen, e.Group), dedupeKey(p, gen, domain.DedupeID(e.Group, e.From, e.ClientID)))
		args = append(args, e.Group, e.Seq)
	}
	for _, r := range recalls {
		keys = append(keys, recentKey(p, gen, r.Group), recalledKey(p, gen, r.Group))
		args = append(args, r.Group, r.Seq)
	}
	for _, e := range b.Entries {
		args = append(args, e.ID)
	}
	return keys, args
}

// Backlog is the number of entries in each log.
func (s *Store) Backlog(ctx context.Context, logs []domain.LogRange) (total int64, err error) {
	if len(logs) == 0 {
		return 0, nil
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.IntCmd, len(logs))
	for i, l := range logs {
		cmds[i] = pipe.XLen(ctx, logKey(l.Partition, l.Gen))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, fmt.Errorf("length of %d logs: %w", len(logs), err)
	}
	for _, c := range cmds {
		total += c.Val()
	}
	return total, nil
}

// OldestLogged is when the oldest entry of any of the logs came; 0 when they are empty.
func (s *Store) OldestLogged(ctx context.Context, logs []domain.LogRange) (oldest int64, err error) {
	if len(logs) == 0 {
		return 0, nil
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.XMessageSliceCmd, len(logs))
	for i, l := range logs {
		cmds[i] = pipe.XRangeN(ctx, logKey(l.Partition, l.Gen), "-", "+", 1)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, fmt.Errorf("oldest entries of %d logs: %w", len(logs), err)
	}
	for i, c := range cmds {
		for _, entry := range c.Val() {
			came, err := streamTime(entry.ID)
			if err != nil {
				return 0, fmt.Errorf("entry %s of partition %d: %w", entry.ID, logs[i].Partition, err)
			}
			if oldest == 0 || came < oldest {
				oldest = came
			}
		}
	}
	return oldest, nil
}

// streamTime is when an entry came whose id Redis has made.
func streamTime(id string) (ms int64, err error) {
	time, _, _ := strings.Cut(id, "-")
	return strconv.ParseInt(time, 10, 64)
}

// DirtyMarks are read marks that MySQL has not got yet, at least some of them.
func (s *Store) DirtyMarks(ctx context.Context, log domain.LogRange) (map[domain.GroupUser]int64, error) {
	var fields []string
	for cursor, first := uint64(0), true; len(fields) == 0 && (first || cursor != 0); first = false {
		var err error // a page may be empty although others are not
		if fields, cursor, err = s.rdb.HScan(ctx, dirtyKey(log.Partition, log.Gen), cursor, "", keepRecent).Result(); err != nil {
			return nil, fmt.Errorf("unwritten read marks of partition %d: %w", log.Partition, err)
		}
	}
	marks := make(map[domain.GroupUser]int64, len(fields)/2)
	for i := 0; i+1 < len(fields); i += 2 {
		group, user, _ := strings.Cut(fields[i], "|")
		var err error
		if marks[domain.GroupUser{Group: group, User: user}], err = strconv.ParseInt(fields[i+1], 10, 64); err != nil {
			return nil, fmt.Errorf("unwritten read mark: %w", err)
		}
	}
	return marks, nil
}

// MarksWritten forgets marks that MySQL has now, unless they have moved on since.
func (s *Store) MarksWritten(ctx context.Context, log domain.LogRange, marks map[domain.GroupUser]int64) error {
	args := make([]any, 0, 2*len(marks))
	for m, seq := range marks {
		args = append(args, m.Group+"|"+m.User, seq)
	}
	if err := s.run(ctx, markedScript, []string{dirtyKey(log.Partition, log.Gen)}, args...).Err(); err != nil {
		return fmt.Errorf("forget %d written read marks: %w", len(marks), err)
	}
	return nil
}

// Lease takes or prolongs partition's write-behind lease for an instance. Correctness does not rest on it: two
// holders only write the same rows twice. So a Redis too full to keep a lease grants it to whoever asks: it gets room
// only if somebody writes its logs.
func (s *Store) Lease(ctx context.Context, partition int, instance string, ttl time.Duration) (bool, error) {
	key := leaseKey(partition)
	holder, err := s.rdb.Get(ctx, key).Result()
	switch {
	case ignoreNil(err) != nil:
		return false, fmt.Errorf("lease of partition %d: %w", partition, err)
	case holder == instance: // a full Redis refuses SETNX even of a key that is there
		if err := s.rdb.PExpire(ctx, key, ttl).Err(); err != nil {
			return false, fmt.Errorf("prolong lease of partition %d: %w", partition, err)
		}
		return true, nil
	case holder != "":
		return false, nil
	}
	ok, err := s.rdb.SetNX(ctx, key, instance, ttl).Result()
	if isFull(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("lease of partition %d: %w", partition, err)
	}
	return ok, nil
}

// Unlease gives a lease back, so that another instance need not wait for its end.
func (s *Store) Unlease(ctx context.Context, partition int, instance string) error {
	holder, err := s.rdb.Get(ctx, leaseKey(partition)).Result()
	if err = ignoreNil(err); err != nil || holder != instance {
		return err
	}
	return s.rdb.Del(ctx, leaseKey(partition)).Err()
}
