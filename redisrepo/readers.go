package redisrepo

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"hearth/domain"
)

const (
	marksPage = 1000 // asked for at a time: Redis has one thread
	// What is looked through at most. While MySQL gets what it should, there is a second's worth.
	maxDirtyMarks      = 100_000 // of the partition
	maxUnstoredSenders = 1000    // messages of the group
)

// ReadMarksAbove finds out who has read a group up to seq and further as far as MySQL may not know it yet: from the marks
// that were moved, and from messages that are not committed, whose senders have read up to them. To be asked before MySQL,
// so that what gets there meanwhile is not missed. unavailable when MySQL is too far behind.
func (s *Store) ReadMarksAbove(ctx context.Context, group string, seq int64) (map[string]int64, error) {
	p, gen := s.of(group)
	pipe := s.rdb.Pipeline()
	persisted := pipe.HGet(ctx, persistedKey(p, gen), group)
	dirty := pipe.HLen(ctx, dirtyKey(p, gen))
	if err := execIgnoringNil(ctx, pipe); err != nil {
		return nil, fmt.Errorf("read marks of %s: %w", group, err)
	}
	if dirty.Val() > maxDirtyMarks {
		return nil, farBehind(fmt.Errorf("%d read marks of partition %d wait", dirty.Val(), p))
	}
	marks := make(map[string]int64)
	if err := s.addDirty(ctx, marks, group, seq); err != nil {
		return nil, fmt.Errorf("read marks of %s: %w", group, err)
	}
	watermark, _ := strconv.ParseInt(persisted.Val(), 10, 64) // without one nothing was sent in this generation
	if err := s.addSenders(ctx, marks, group, max(seq, watermark+1)); err != nil {
		return nil, fmt.Errorf("senders in %s: %w", group, err)
	}
	return marks, nil
}

func farBehind(err error) error {
	e := domain.Unavailable(err, "MySQL")
	e.Message = "too much waits to be stored, try again"
	return e
}

func (s *Store) addDirty(ctx context.Context, marks map[string]int64, group string, seq int64) error {
	p, gen := s.of(group)
	for cursor, first := uint64(0), true; cursor != 0 || first; first = false {
		var fields []string
		var err error // ids have nothing in them that a pattern would mind
		if fields, cursor, err = s.rdb.HScan(ctx, dirtyKey(p, gen), cursor, group+"|*", marksPage).Result(); err != nil {
			return err
		}
		for i := 0; i+1 < len(fields); i += 2 {
			mark, err := strconv.ParseInt(fields[i+1], 10, 64)
			if err != nil {
				return err
			}
			if _, user, _ := strings.Cut(fields[i], "|"); mark >= seq {
				marks[user] = max(marks[user], mark)
			}
		}
	}
	return nil
}

// addSenders goes through the messages from a seq on, of which an app server's move nobody's mark.
func (s *Store) addSenders(ctx context.Context, marks map[string]int64, group string, from int64) error {
	for looked := 0; ; {
		r := domain.Range{Group: group, From: from, To: 1 << 53, Limit: domain.MaxPage}
		pages, over, err := s.readRecent(ctx, []domain.Range{r})
		if err == nil && over != nil {
			err = fmt.Errorf("partition %d: generation %d is over", over.Partition, over.Gen)
		}
		if err != nil {
			return err
		}
		records := pages[0].records
		for _, m := range records {
			if !byAppServer(m) {
				marks[m.From()] = max(marks[m.From()], m.Seq)
			}
			from = m.Seq + 1
		}
		if looked += len(records); len(records) < r.Limit {
			return nil
		}
		if looked >= maxUnstoredSenders {
			return farBehind(fmt.Errorf("more than %d messages wait", looked))
		}
	}
}

// byAppServer looks for the field among those before the body, of which ids and numbers are all.
func byAppServer(m domain.Record) bool {
	header, _, _ := bytes.Cut(m.Tail, []byte(`,"body":`))
	return bytes.Contains(header, []byte(`,"operator":"`))
}
