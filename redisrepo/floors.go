package redisrepo

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

// A floor is kept as '<max seq> <last time ms> <holes>'. It holds as long as nothing is sent in the generation; from
// then on the group is seeded, and its floor is not looked at.
func formatFloor(f domain.Floor) string {
	return strings.TrimSpace(fmt.Sprint(f.MaxSeq, " ", f.LastMS, " ", formatHoles(f.Holes)))
}

func parseFloor(s string) (f domain.Floor, err error) {
	words := strings.SplitN(s, " ", 3)
	if len(words) < 2 {
		return f, fmt.Errorf("floor %q", s)
	}
	if f.MaxSeq, err = strconv.ParseInt(words[0], 10, 64); err != nil {
		return f, fmt.Errorf("floor: seq: %w", err)
	}
	if f.LastMS, err = strconv.ParseInt(words[1], 10, 64); err != nil {
		return f, fmt.Errorf("floor: time: %w", err)
	}
	if len(words) == 3 {
		f.Holes, err = parseHoles(words[2])
	}
	return f, err
}

// FillFloors caches what MySQL knows of groups that were not sent to in this generation.
func (s *Store) FillFloors(ctx context.Context, floors map[string]domain.Floor) error {
	pipe := s.rdb.Pipeline()
	for group, f := range floors {
		p, gen := s.of(group)
		pipe.HSet(ctx, floorKey(p, gen), group, formatFloor(f))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("fill %d floors: %w", len(floors), orFull(err))
	}
	return nil
}

// addFloors gives the heads that are not seeded the numbers of their floors, where those are cached.
func (s *Store) addFloors(ctx context.Context, heads []domain.CachedHead) error {
	asked := make(map[*domain.CachedHead]*redis.StringCmd)
	pipe := s.rdb.Pipeline()
	for i := range heads {
		if h := &heads[i]; !h.Seeded {
			p, gen := s.of(h.Group)
			asked[h] = pipe.HGet(ctx, floorKey(p, gen), h.Group)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	if err := execIgnoringNil(ctx, pipe); err != nil {
		return fmt.Errorf("read %d floors: %w", len(asked), err)
	}
	for h, c := range asked {
		if c.Val() == "" {
			continue
		}
		f, err := parseFloor(c.Val())
		if err != nil {
			return fmt.Errorf("head of %s: %w", h.Group, err)
		}
		h.Seeded = true
		h.MaxSeq, h.LastMS, h.PersistedSeq, h.Holes = f.MaxSeq, f.LastMS, f.MaxSeq, f.Holes
	}
	return nil
}
