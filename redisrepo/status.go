package redisrepo

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

const (
	statusKept  = int64(domain.StatusKept / domain.StatusInterval) // entries of an instance, about
	statusTTL   = domain.StatusKept + 5*time.Minute
	statusField = "s"
)

// PostStatus tells what an instance says of itself; the newest counts, and those of the last 15 minutes are a chart.
// instance is its life: two of one name tell nothing of each other.
func (s *Store) PostStatus(ctx context.Context, instance string, status domain.InstanceStatus) error {
	told, err := json.Marshal(status)
	if err != nil {
		return fmt.Errorf("status of %s: %w", instance, err)
	}
	pipe := s.rdb.Pipeline()
	pipe.XAdd(ctx, &redis.XAddArgs{
		Stream: statusKey(instance), MaxLen: statusKept, Approx: true, Values: []string{statusField, string(told)},
	})
	pipe.Expire(ctx, statusKey(instance), statusTTL)
	added := pipe.SAdd(ctx, statusesKey(), instance)
	pipe.Expire(ctx, statusesKey(), statusTTL)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("tell the status of %s: %w", instance, err)
	}
	if added.Val() == 0 {
		return nil
	}
	return s.forgetStatuses(ctx)
}

// Fleet is what the living instances said last, by name. Of a name that is started again soon after its death it is the new
// life's.
func (s *Store) Fleet(ctx context.Context) ([]domain.InstanceStatus, error) {
	lives, err := s.rdb.SMembers(ctx, statusesKey()).Result()
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	alive, err := s.aliveAmong(ctx, lives)
	if err != nil {
		return nil, err
	}
	lives = slices.DeleteFunc(lives, func(life string) bool { return !alive[life] })
	told, err := s.readStatuses(ctx, lives, func(pipe redis.Pipeliner, key string) *redis.XMessageSliceCmd {
		return pipe.XRevRangeN(ctx, key, "+", "-", 1)
	})
	if err != nil {
		return nil, err
	}
	fleet := slices.Concat(told...)
	slices.SortFunc(fleet, func(a, b domain.InstanceStatus) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(b.SeenMS, a.SeenMS))
	})
	return slices.CompactFunc(fleet, func(a, b domain.InstanceStatus) bool { return a.Name == b.Name }), nil
}

// FleetSince is all that instances said since then, dead ones too, each one's by time.
func (s *Store) FleetSince(ctx context.Context, sinceMS int64) ([][]domain.InstanceStatus, error) {
	lives, err := s.rdb.SMembers(ctx, statusesKey()).Result()
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	slices.Sort(lives)
	return s.readStatuses(ctx, lives, func(pipe redis.Pipeliner, key string) *redis.XMessageSliceCmd {
		return pipe.XRangeN(ctx, key, strconv.FormatInt(sinceMS, 10), "+", 2*statusKept)
	})
}

// readStatuses reads of each instance what read asks for, in one round trip.
func (s *Store) readStatuses(
	ctx context.Context, lives []string, read func(pipe redis.Pipeliner, key string) *redis.XMessageSliceCmd,
) ([][]domain.InstanceStatus, error) {
	if len(lives) == 0 {
		return nil, nil
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.XMessageSliceCmd, len(lives))
	for i, life := range lives {
		cmds[i] = read(pipe, statusKey(life))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("statuses of %d instances: %w", len(lives), err)
	}
	told := make([][]domain.InstanceStatus, len(lives))
	for i, cmd := range cmds {
		for _, entry := range cmd.Val() {
			status, err := statusOf(entry)
			if err != nil {
				return nil, fmt.Errorf("status of %s: %w", lives[i], err)
			}
			told[i] = append(told[i], status)
		}
	}
	return told, nil
}

// statusOf takes the time of an entry for when it was said: that is Redis' clock.
func statusOf(entry redis.XMessage) (status domain.InstanceStatus, err error) {
	said, _ := entry.Values[statusField].(string)
	if err := json.Unmarshal([]byte(said), &status); err != nil {
		return status, err
	}
	status.SeenMS, err = streamTime(entry.ID)
	return status, err
}

// forgetStatuses takes those off the list that have nothing there any more; one that lives is back with its next word. Who
// is new on the list does it: otherwise it would grow with each start of an instance, for good.
func (s *Store) forgetStatuses(ctx context.Context) error {
	lives, err := s.rdb.SMembers(ctx, statusesKey()).Result()
	if err != nil {
		return fmt.Errorf("list instances: %w", err)
	}
	pipe := s.rdb.Pipeline()
	left := make([]*redis.IntCmd, len(lives))
	for i, life := range lives {
		left[i] = pipe.Exists(ctx, statusKey(life))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("which of %d instances have a status: %w", len(lives), err)
	}
	var gone []any
	for i, life := range lives {
		if left[i].Val() == 0 {
			gone = append(gone, life)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if err := s.rdb.SRem(ctx, statusesKey(), gone...).Err(); err != nil {
		return fmt.Errorf("forget %d instances: %w", len(gone), err)
	}
	return nil
}
