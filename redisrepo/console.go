package redisrepo

import (
	"context"
	"fmt"
	"time"
)

// RevokeConsoleSession lets all instances refuse a session of the console for as long as its cookie would have been good.
func (s *Store) RevokeConsoleSession(ctx context.Context, id string, left time.Duration) error {
	if err := s.rdb.Set(ctx, revokedKey(id), 1, left+time.Minute).Err(); err != nil { // clocks may differ a little
		return fmt.Errorf("revoke a console session: %w", err)
	}
	return nil
}

// IsConsoleSessionRevoked tells whether an instance has.
func (s *Store) IsConsoleSessionRevoked(ctx context.Context, id string) (bool, error) {
	n, err := s.rdb.Exists(ctx, revokedKey(id)).Result()
	if err != nil {
		return false, fmt.Errorf("whether a console session is revoked: %w", err)
	}
	return n > 0, nil
}
