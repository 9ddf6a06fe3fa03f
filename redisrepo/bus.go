package redisrepo

import (
	"context"
	"fmt"
)

// Events travel as 'e <except or ->', a newline and the event as clients get it.
func eventPayload(except string, event []byte) []byte {
	if except == "" {
		except = "-"
	}
	return append([]byte("e "+except+"\n"), event...)
}

// ToGroups publishes an event to groups; see domain.Bus.
func (s *Store) ToGroups(ctx context.Context, groups []string, except string, event []byte) error {
	if len(groups) == 0 {
		return nil
	}
	payload := eventPayload(except, event)
	pipe := s.rdb.Pipeline()
	for _, group := range groups {
		pipe.Publish(ctx, groupChannel(s.cfg.Partitions.Of(group), group), payload)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("publish an event to %d groups: %w", len(groups), err)
	}
	return nil
}

// ToUser publishes an event to a user's connections; see domain.Bus.
func (s *Store) ToUser(ctx context.Context, user, except string, event []byte) error {
	channel := userChannel(s.cfg.Partitions.Of(user), user)
	if err := s.rdb.Publish(ctx, channel, eventPayload(except, event)).Err(); err != nil {
		return fmt.Errorf("publish an event to user %s: %w", user, err)
	}
	return nil
}
