package redisrepo

import (
	"context"
	"fmt"
	"strconv"
)

// marksPage is how many read marks are asked for at a time: a room's readers may be many, and Redis has one thread.
const marksPage = 1000

// ReadMarksAbove reads the cached read marks of a group that are at least seq, by user. Marks that are in MySQL alone
// are not among them, and one that moves meanwhile is read as before or after.
func (s *Store) ReadMarksAbove(ctx context.Context, group string, seq int64) (map[string]int64, error) {
	p, gen := s.of(group)
	marks := make(map[string]int64)
	for cursor := uint64(0); ; {
		var fields []string
		var err error
		if fields, cursor, err = s.rdb.HScan(ctx, readKey(p, gen, group), cursor, "", marksPage).Result(); err != nil {
			return nil, fmt.Errorf("read marks of %s: %w", group, err)
		}
		for i := 0; i+1 < len(fields); i += 2 {
			mark, err := strconv.ParseInt(fields[i+1], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("read mark of %s: %w", group, err)
			}
			if mark >= seq {
				marks[fields[i]] = mark
			}
		}
		if cursor == 0 {
			return marks, nil
		}
	}
}
