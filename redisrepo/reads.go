package redisrepo

import (
	"context"
	"fmt"
	"strconv"

	"hearth/domain"
)

// FillReads caches read marks; those already there stay.
func (s *Store) FillReads(ctx context.Context, marks map[domain.GroupUser]int64) error {
	pipe := s.rdb.Pipeline()
	for m, seq := range marks {
		p, gen := s.of(m.Group)
		pipe.HSetNX(ctx, readKey(p, gen, m.Group), m.User, seq)
		pipe.Expire(ctx, readKey(p, gen, m.Group), idleTTL)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("fill %d read marks: %w", len(marks), orFull(err))
	}
	return nil
}

const smallGroup = 100 // members; in larger groups nobody is told what others have read

// MarkRead moves a read mark forward; see domain.ReadMarker.
func (s *Store) MarkRead(ctx context.Context, group, user string, seq, known int64, event []byte) (int64, error) {
	for try := 1; ; try++ {
		p, gen := s.of(group)
		mark, err := s.markRead(ctx, p, gen, group, user, seq, known, event)
		if err != nil {
			return 0, fmt.Errorf("read mark in %s: %w", group, err)
		}
		if mark >= 0 && s.journal.KeepMark(domain.GroupUser{Group: group, User: user}, domain.ReadMark{Gen: gen, Seq: mark}) {
			return mark, nil
		}
		if err := s.renewed(ctx, p, gen, try); err != nil {
			return 0, err
		}
	}
}

// markRead returns -1 when the generation is another one.
func (s *Store) markRead(ctx context.Context, p int, gen int64, group, user string, seq, known int64, event []byte) (int64, error) {
	keys := []string{genKey(p), readKey(p, gen, group), dirtyKey(p, gen), groupKey(p, group)}
	reply, err := s.run(ctx, readScript, keys, gen, group, user, seq, known, idleTTL.Milliseconds(),
		groupChannel(p, group), noticePayload(domain.Notice{Except: domain.ExceptUser(user), Event: event}), smallGroup).Text()
	if err != nil {
		return 0, orFull(err)
	}
	if reply == "STALE" {
		return -1, nil
	}
	return strconv.ParseInt(reply, 10, 64)
}
