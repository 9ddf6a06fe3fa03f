package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"hearth/cmd/internal/bots"
	"hearth/configs"
)

const devTokenTTL = 24 * time.Hour

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// startBots lets demo users talk until the stack stops.
func (d *Dev) startBots(ctx context.Context, c DevConfig, cfg configs.Config) {
	sign := signer(cfg, devTokenTTL)
	talking := startTasks(ctx, func(ctx context.Context) error {
		return bots.Run(ctx, bots.Config{
			URLs: d.URLs, Count: c.Bots, Rooms: devRooms, Log: c.Log,
			Token: func(user string) string {
				token, _, err := sign(user, user)
				if err != nil {
					c.Log.Error().Err(err).Msg("bot has no token")
				}
				return token
			},
		})
	})
	d.stops = append(d.stops, talking.stop)
}
