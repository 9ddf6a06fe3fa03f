package redisrepo

import (
	"context"
	"fmt"
	"time"
)

// mineTTL bounds how long the list of a user's groups stands in for MySQL. What is left of it tells the list's age.
const mineTTL = 24 * time.Hour

// noGroup is in every cached list, so that an empty one is one too.
const noGroup = "*"

// OwnGroups reads the cached list; see domain.OwnGroups.
func (s *Store) OwnGroups(ctx context.Context, user string) (groups []string, age time.Duration, known bool, err error) {
	key := mineKey(s.cfg.Partitions.Of(user), user)
	pipe := s.rdb.Pipeline()
	members, left := pipe.SMembers(ctx, key), pipe.PTTL(ctx, key)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, 0, false, fmt.Errorf("groups of %s: %w", user, err)
	}
	for _, group := range members.Val() {
		if group == noGroup {
			known = true
			continue
		}
		groups = append(groups, group)
	}
	return groups, mineTTL - left.Val(), known, nil
}

// RememberGroups caches the list; see domain.OwnGroups.
func (s *Store) RememberGroups(ctx context.Context, user string, groups []string, lastNote string) error {
	p := s.cfg.Partitions.Of(user)
	args := make([]any, 0, 3+len(groups))
	args = append(args, lastNote, mineTTL.Milliseconds(), noGroup)
	for _, group := range groups {
		args = append(args, group)
	}
	if err := s.run(ctx, mineScript, []string{mineKey(p, user), notesKey(p, user)}, args...).Err(); err != nil {
		return fmt.Errorf("remember %d groups of %s: %w", len(groups), user, err)
	}
	return nil
}
