package redisrepo

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

// Recent answers each range from the newest messages that Redis keeps, in one round trip. What MySQL may not have of
// them is noted in the journal, for it is about to be shown; messages of a generation that is over are not believed.
func (s *Store) Recent(ctx context.Context, ranges []domain.Range) ([][]domain.Record, error) {
	for try := 1; ; try++ {
		gens := make([]int64, len(ranges))
		for i, r := range ranges {
			_, gens[i] = s.of(r.Group)
		}
		results, recalled, err := s.readRecent(ctx, ranges)
		if err != nil {
			return nil, err
		}
		over := s.keep(ranges, gens, results)
		if over < 0 {
			entombEach(results, recalled)
			return results, nil
		}
		p := s.cfg.Partitions.Of(ranges[over].Group)
		if err := s.renewed(ctx, p, gens[over], try); err != nil {
			return nil, err
		}
	}
}

// entombEach makes tombstones, behind keep: what the journal brings to MySQL is known there by its content.
func entombEach(results [][]domain.Record, recalled [][]domain.Recall) {
	for i := range results {
		results[i] = domain.Entombed(results[i], recalled[i])
	}
}

// keep notes what is about to be shown. It returns the index of a range whose generation is over, -1 for none.
func (s *Store) keep(ranges []domain.Range, gens []int64, results [][]domain.Record) (over int) {
	for i, records := range results {
		for _, r := range records {
			if r.Seq > ranges[i].Committed && !s.journal.KeepRecord(gens[i], ranges[i].Committed, r) {
				return i
			}
		}
	}
	return -1
}

// readRecent has the messages as they were sent, and what was recalled in their groups. That is read first: what is not in
// there any more has left the recent messages, too.
func (s *Store) readRecent(ctx context.Context, ranges []domain.Range) (results [][]domain.Record, recalled [][]domain.Recall, err error) {
	pipe := s.rdb.Pipeline()
	hashes := make([]*redis.MapStringStringCmd, len(ranges))
	cmds := make([]*redis.XMessageSliceCmd, len(ranges))
	for i, r := range ranges {
		p, gen := s.of(r.Group)
		key := recentKey(p, gen, r.Group)
		hashes[i] = pipe.HGetAll(ctx, recalledKey(p, gen, r.Group))
		from, to := streamID(r.From), streamID(r.To)
		if r.Last {
			cmds[i] = pipe.XRevRangeN(ctx, key, to, from, int64(r.Limit))
		} else {
			cmds[i] = pipe.XRangeN(ctx, key, from, to, int64(r.Limit))
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, nil, fmt.Errorf("read recent messages of %d groups: %w", len(ranges), err)
	}
	results, recalled = make([][]domain.Record, len(ranges)), make([][]domain.Recall, len(ranges))
	for i, r := range ranges {
		if results[i], err = recentRecords(r, cmds[i].Val()); err != nil {
			return nil, nil, err
		}
		if recalled[i], err = recallsOf(r.Group, hashes[i].Val()); err != nil {
			return nil, nil, err
		}
	}
	return results, recalled, nil
}

func streamID(seq int64) string { return strconv.FormatInt(max(0, seq), 10) + "-0" }

func recentRecords(r domain.Range, messages []redis.XMessage) ([]domain.Record, error) {
	records := make([]domain.Record, len(messages))
	for i, m := range messages {
		seq, err := strconv.ParseInt(strings.TrimSuffix(m.ID, "-0"), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("recent message %s of %s: %w", m.ID, r.Group, err)
		}
		tail, _ := m.Values["m"].(string)
		at := i
		if r.Last {
			at = len(messages) - 1 - i
		}
		if records[at], err = domain.RecordFromTail(r.Group, seq, []byte(tail)); err != nil {
			return nil, err
		}
		records[at].Mute, _ = m.Values["q"].(string)
		records[at].Hash, _ = m.Values["x"].(string)
	}
	return records, nil
}
