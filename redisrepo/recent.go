package redisrepo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

// Recent answers each range from the newest messages that Redis keeps, in one round trip. What MySQL may not have of
// them, and of their recalls, is noted in the journal, for it is about to be shown; what is of a generation that is over is
// not believed.
func (s *Store) Recent(ctx context.Context, ranges []domain.Range) ([][]domain.Record, error) {
	for try := 1; ; try++ {
		pages, over, err := s.readRecent(ctx, ranges)
		if err != nil {
			return nil, err
		}
		if over == nil {
			over = s.keep(pages)
		}
		if over == nil {
			return entombEach(pages), nil
		}
		if err := s.renewed(ctx, over.Partition, over.Gen, try); err != nil {
			return nil, err
		}
	}
}

// recentPage is what Redis has of a range: messages as they were sent, and what was recalled in their group.
type recentPage struct {
	domain.Range
	of       domain.LogRange
	records  []domain.Record
	recalled []domain.Recall
}

// entombEach makes tombstones, behind keep: what the journal brings to MySQL is known there by its content.
func entombEach(pages []recentPage) [][]domain.Record {
	results := make([][]domain.Record, len(pages))
	for i, page := range pages {
		results[i] = domain.Entombed(page.records, page.recalled)
	}
	return results
}

// keep notes what is about to be shown. It returns a partition whose generation is over, nil for none.
func (s *Store) keep(pages []recentPage) (over *domain.LogRange) {
	for i := range pages {
		page := &pages[i]
		for _, r := range page.records {
			if r.Seq > page.Committed && !s.journal.KeepRecord(page.of.Gen, page.Committed, r) {
				return &page.of
			}
		}
		for _, r := range page.recalled {
			if page.shows(r.Seq) && !s.journal.KeepRecall(r) {
				return &page.of
			}
		}
	}
	return nil
}

func (p *recentPage) shows(seq int64) bool {
	_, found := slices.BinarySearchFunc(p.records, seq, func(r domain.Record, seq int64) int { return cmp.Compare(r.Seq, seq) })
	return found
}

// readRecent has the messages as they were sent, and what was recalled in their groups. That is read first: what is not in
// there any more has left the recent messages, too. It also names a partition that turned out to be in another generation:
// a server that was emptied knows of no recall, and MySQL may not yet.
func (s *Store) readRecent(ctx context.Context, ranges []domain.Range) (pages []recentPage, over *domain.LogRange, err error) {
	pipe := s.rdb.Pipeline()
	pages = make([]recentPage, len(ranges))
	recalls := s.newRecallReads()
	cmds := make([]*redis.XMessageSliceCmd, len(ranges))
	for i, r := range ranges {
		pages[i].Range = r
		pages[i].of = recalls.read(ctx, pipe, r.Group)
		key := recentKey(pages[i].of.Partition, pages[i].of.Gen, r.Group)
		from, to := streamID(r.From), streamID(r.To)
		if r.Last {
			cmds[i] = pipe.XRevRangeN(ctx, key, to, from, int64(r.Limit))
		} else {
			cmds[i] = pipe.XRangeN(ctx, key, from, to, int64(r.Limit))
		}
	}
	lists, over, err := recalls.exec(ctx, pipe)
	if err != nil || over != nil {
		return nil, over, err
	}
	for i := range pages {
		if pages[i].records, err = recentRecords(pages[i].Range, cmds[i].Val()); err != nil {
			return nil, nil, err
		}
		pages[i].recalled = lists[i]
	}
	return pages, nil, nil
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
		mute, _ := m.Values["q"].(string)
		records[at].Mute = orNone(mute)
		records[at].Hash, _ = m.Values["x"].(string)
	}
	return records, nil
}
