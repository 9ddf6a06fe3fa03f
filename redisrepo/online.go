package redisrepo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	instanceTTL = 15 * time.Second // what an instance announced counts as long as this
	onlineTTL   = time.Minute      // of a group's counts after the last announcement of any instance
)

// Announce tells that an instance lives, and how many distinct users it has connected to each group; a count of 0
// takes the group's back. known is false when Redis had forgotten the instance, or others have swept it: what it told
// before may be gone. After an error that is not known.
func (s *Store) Announce(ctx context.Context, instance string, counts map[string]int) (known bool, err error) {
	pipe := s.appends.Pipeline() // a repeat would find the instance that the first try has made known
	renewed := pipe.Expire(ctx, instanceKey(instance), instanceTTL)
	pipe.Set(ctx, instanceKey(instance), "alive", instanceTTL) // refused by a full Redis, which must not kill instances
	added := pipe.SAdd(ctx, instancesKey(), instance)
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
		return false, fmt.Errorf("announce %d groups: %w", len(counts), err)
	}
	return renewed.Val() && added.Val() == 0, nil
}

// Depart takes an instance's word back that it lives. If sessions are left on it, it stays among the instances, where
// the others find it dead and sweep it.
func (s *Store) Depart(ctx context.Context, instance string) error {
	pipe := s.rdb.Pipeline()
	pipe.Del(ctx, instanceKey(instance))
	left := make([]*redis.IntCmd, s.cfg.Partitions)
	for p := range left {
		left[p] = pipe.Exists(ctx, atKey(p, instance))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("depart %s: %w", instance, err)
	}
	for _, c := range left {
		if c.Val() > 0 {
			return nil
		}
	}
	if err := s.rdb.SRem(ctx, instancesKey(), instance).Err(); err != nil {
		return fmt.Errorf("depart %s: %w", instance, err)
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
	var instances []string
	for _, c := range cmds {
		instances = slices.AppendSeq(instances, maps.Keys(c.Val()))
	}
	alive, err := s.aliveAmong(ctx, instances)
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

// aliveAmong tells which instances live; they may be named more than once.
func (s *Store) aliveAmong(ctx context.Context, instances []string) (map[string]bool, error) {
	if len(instances) == 0 {
		return nil, nil
	}
	pipe := s.rdb.Pipeline()
	exists := make(map[string]*redis.IntCmd)
	for _, instance := range instances {
		if exists[instance] == nil {
			exists[instance] = pipe.Exists(ctx, instanceKey(instance))
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("which of %d instances live: %w", len(exists), err)
	}
	alive := make(map[string]bool, len(exists))
	for instance, c := range exists {
		alive[instance] = c.Val() > 0
	}
	return alive, nil
}
