package redisrepo

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	instanceTTL = 15 * time.Second // what an instance announced counts as long as this
	onlineTTL   = time.Minute      // of a group's counts after the last announcement of any instance
)

// Announce tells that an instance lives, and how many distinct users it has connected to each group; a count of 0
// takes the group's back.
func (s *Store) Announce(ctx context.Context, instance string, counts map[string]int) error {
	pipe := s.rdb.Pipeline()
	pipe.Set(ctx, instanceKey(instance), "alive", instanceTTL)
	for group, n := range counts {
		key := onlineKey(s.cfg.Partitions.Of(group), group)
		if n == 0 {
			pipe.HDel(ctx, key, instance)
			continue
		}
		pipe.HSet(ctx, key, instance, n)
		pipe.Expire(ctx, key, onlineTTL)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("announce %d groups: %w", len(counts), err)
	}
	return nil
}

// Online adds up what living instances announced for each group; see domain.Viewers.
func (s *Store) Online(ctx context.Context, groups []string) (map[string]int, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(groups))
	for i, group := range groups {
		cmds[i] = pipe.HGetAll(ctx, onlineKey(s.cfg.Partitions.Of(group), group))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("viewers of %d groups: %w", len(groups), err)
	}
	alive, err := s.aliveAmong(ctx, cmds)
	if err != nil {
		return nil, err
	}
	online := make(map[string]int)
	for i, group := range groups {
		for instance, count := range cmds[i].Val() {
			if !alive[instance] {
				continue
			}
			n, err := strconv.Atoi(count)
			if err != nil {
				return nil, fmt.Errorf("viewers of %s: %w", group, err)
			}
			online[group] += n
		}
	}
	return online, nil
}

func (s *Store) aliveAmong(ctx context.Context, counts []*redis.MapStringStringCmd) (map[string]bool, error) {
	pipe := s.rdb.Pipeline()
	exists := make(map[string]*redis.IntCmd)
	for _, c := range counts {
		for instance := range c.Val() {
			if exists[instance] == nil {
				exists[instance] = pipe.Exists(ctx, instanceKey(instance))
			}
		}
	}
	if len(exists) == 0 {
		return nil, nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("which of %d instances live: %w", len(exists), err)
	}
	alive := make(map[string]bool)
	for instance, c := range exists {
		alive[instance] = c.Val() > 0
	}
	return alive, nil
}
