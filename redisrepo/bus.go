package redisrepo

import (
	"context"
	"fmt"

	"hearth/domain"
)

// ToGroups publishes an event to groups; see domain.Bus.
func (s *Store) ToGroups(ctx context.Context, groups []string, except string, event []byte) error {
	if len(groups) == 0 {
		return nil
	}
	payload := noticePayload(domain.Notice{Except: except, Event: event})
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
	if err := s.rdb.Publish(ctx, channel, noticePayload(domain.Notice{Except: except, Event: event})).Err(); err != nil {
		return fmt.Errorf("publish an event to user %s: %w", user, err)
	}
	return nil
}

// PublishRepair tells all instances that a group's history has changed above after; see domain.RepairCache.
func (s *Store) PublishRepair(ctx context.Context, group string, after int64) error {
	channel := groupChannel(s.cfg.Partitions.Of(group), group)
	if err := s.rdb.Publish(ctx, channel, noticePayload(domain.Notice{Repaired: true, After: after})).Err(); err != nil {
		return fmt.Errorf("publish the repair of %s: %w", group, err)
	}
	return nil
}
