package redisrepo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// dismissedTTL is how long it is known here that a group was dismissed, from when nothing else is. Longer than anybody holds
// on to what he has read of it in MySQL before, who would bring it back.
const dismissedTTL = time.Minute

const scanCount = 1000 // members in one step of a scan

// Dismissed lists the dismissed groups of a partition of which there may be something left, and of which MySQL has all
// messages: to look for the rest of the others is no use yet.
func (s *Store) Dismissed(ctx context.Context, partition int) ([]string, error) {
	groups, err := s.rdb.SMembers(ctx, dismissedKey(partition)).Result()
	if err != nil {
		return nil, fmt.Errorf("dismissed groups of partition %d: %w", partition, err)
	}
	if len(groups) == 0 {
		return nil, nil
	}
	gen := s.gens(partition)
	pipe := s.rdb.Pipeline()
	last, persisted := pipe.HMGet(ctx, seqKey(partition, gen), groups...), pipe.HMGet(ctx, persistedKey(partition, gen), groups...)
	if err := execIgnoringNil(ctx, pipe); err != nil {
		return nil, fmt.Errorf("messages of %d dismissed groups: %w", len(groups), err)
	}
	stored := groups[:0]
	for i, group := range groups {
		seq, _, _ := strings.Cut(field(last.Val(), i), " ")
		n, _ := strconv.ParseInt(seq, 10, 64)
		mark, _ := strconv.ParseInt(field(persisted.Val(), i), 10, 64)
		if n <= mark { // of both none: not seeded
			stored = append(stored, group)
		}
	}
	return stored, nil
}

// ForgetMine takes a dismissed group out of the cached lists of users' groups.
func (s *Store) ForgetMine(ctx context.Context, group string, users []string) error {
	pipe := s.rdb.Pipeline()
	for _, user := range users {
		pipe.SRem(ctx, mineKey(s.cfg.Partitions.Of(user), user), group)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("take %s out of the groups of %d users: %w", group, len(users), err)
	}
	return nil
}

// ForgetGroup deletes what there is of a dismissed group. done is false while messages of it are on their way to MySQL.
func (s *Store) ForgetGroup(ctx context.Context, group string) (done bool, err error) {
	p, gen := s.of(group)
	if err := s.forgetMembers(ctx, speakersKey(p), group); err != nil {
		return false, err
	}
	if s.cfg.CountMessages {
		if err := s.forgetMembers(ctx, messagesKey(p), group); err != nil {
			return false, err
		}
		if err := s.rdb.ZRem(ctx, trafficKey(p), group).Err(); err != nil {
			return false, fmt.Errorf("forget messages of %s: %w", group, err)
		}
	}
	keys := []string{
		genKey(p), dismissedKey(p), seqKey(p, gen), persistedKey(p, gen), holesKey(p, gen), floorKey(p, gen), heatKey(p), expiringKey(p),
		recentKey(p, gen, group), readKey(p, gen, group), onlineKey(p, group), groupRateKey(p, group),
		groupKey(p, group), recalledKey(p, gen, group), mentionsKey(p, gen, group),
	}
	word, err := s.run(ctx, dismissedScript, keys, gen, group, dismissedTTL.Milliseconds()).Text()
	if err != nil {
		return false, fmt.Errorf("forget group %s: %w", group, err)
	}
	return word == "OK", nil
}

// forgetMembers goes through all speakers of a partition, or all messages: nobody else asks for those of one group.
func (s *Store) forgetMembers(ctx context.Context, key, group string) error {
	for cursor := uint64(0); ; {
		found, next, err := s.rdb.ZScan(ctx, key, cursor, group+"|*", scanCount).Result() // an id has no sign of a pattern
		if err != nil {
			return fmt.Errorf("what the ranking counts in %s: %w", group, err)
		}
		members := make([]any, 0, len(found)/2)
		for i := 0; i < len(found); i += 2 { // each with its score
			members = append(members, found[i])
		}
		if len(members) > 0 {
			if err := s.rdb.ZRem(ctx, key, members...).Err(); err != nil {
				return fmt.Errorf("forget what the ranking counts in %s: %w", group, err)
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}
