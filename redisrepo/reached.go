package redisrepo

import (
	"context"
	"fmt"
	"strconv"

	"hearth/domain"
)

const reachedCall = 1000 // groups and marks in one call

// Reached tells how far MySQL has got with groups and read marks of one partition's generation: the watermarks, and
// which of the marks are written. Nothing is told of a generation that this server is not in.
func (s *Store) Reached(ctx context.Context, log domain.LogRange, groups []string, marks []domain.GroupUser) (watermarks map[string]int64, written []domain.GroupUser, err error) {
	watermarks = make(map[string]int64, len(groups))
	for len(groups)+len(marks) > 0 {
		g := groups[:min(len(groups), reachedCall)]
		m := marks[:min(len(marks), reachedCall-len(g))]
		fields := make([]string, len(m))
		for i, who := range m {
			fields[i] = who.Group + "|" + who.User
		}
		answer, err := s.reached(ctx, log, dirtyKey(log.Partition, log.Gen), g, fields)
		if err != nil {
			return nil, nil, fmt.Errorf("watermarks of partition %d: %w", log.Partition, err)
		}
		if len(answer) != len(g)+len(m) { // STALE
			return nil, nil, nil
		}
		for i, group := range g {
			if watermarks[group], err = strconv.ParseInt(answer[i], 10, 64); err != nil {
				return nil, nil, fmt.Errorf("watermark of %s: %w", group, err)
			}
		}
		for i, who := range m {
			if answer[len(g)+i] == "0" {
				written = append(written, who)
			}
		}
		groups, marks = groups[len(g):], marks[len(m):]
	}
	return watermarks, written, nil
}

// reached asks for watermarks, and which fields of the hash waiting are there still.
func (s *Store) reached(ctx context.Context, log domain.LogRange, waiting string, groups, fields []string) ([]string, error) {
	p, gen := log.Partition, log.Gen
	args := make([]any, 0, 3+len(groups)+len(fields))
	args = append(args, gen, s.cfg.Identity, len(groups))
	for _, group := range groups {
		args = append(args, group)
	}
	for _, field := range fields {
		args = append(args, field)
	}
	answer, err := s.run(ctx, reachedScript, []string{genKey(p), persistedKey(p, gen), waiting, seqKey(p, gen)}, args...).StringSlice()
	if err == nil && len(answer) == 1 && answer[0] == "STALE" {
		return nil, nil
	}
	return answer, err
}
