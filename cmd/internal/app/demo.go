package app

import (
	"context"
	"errors"
	"time"

	"github.com/go-chi/chi/v5"

	"hearth/configs"
	"hearth/domain"
	"hearth/transport"
	"hearth/transport/auth"
	"hearth/transport/demo"
)

const (
	demoTokenTTL = time.Hour
	demoPrefix   = "demo-" // of users and rooms where the demo is not alone

	demoAddressRate = 100 // requests a second, those for the page's files too
)

var demoRooms = []string{demoPrefix + "lobby", demoPrefix + "music", demoPrefix + "games"}

// signer makes tokens of users, as an app's own back end would.
func signer(cfg configs.Config, ttl time.Duration) func(user, name string) (token string, expires time.Time, err error) {
	secret := []byte(cfg.Auth.JWTHMACSecret.Reveal())
	return func(user, name string) (token string, expires time.Time, err error) {
		expires = time.Now().Add(ttl)
		token, err = auth.Sign(secret, auth.Claims{User: user, Name: name, Expires: expires})
		return token, expires, err
	}
}

func mountDemo(router chi.Router, cfg demo.Config) {
	page := demo.Handler(cfg)
	router.Handle("/demo", page)
	router.Handle("/demo/*", page)
}

// mountDemo puts the demo beside the API, for users of its own only. Tokens for whoever asks have a limit an address also
// where requests have none: each is another user.
func (i *Instance) mountDemo(router chi.Router) {
	limit := i.limit
	if i.cfg.Limits.AddressRate == 0 {
		limit = transport.AddressLimit(demoAddressRate, i.cfg.HTTP.TrustedProxies, i.registry)
	}
	mountDemo(router.With(limit), demo.Config{
		Sign: signer(i.cfg, demoTokenTTL), UserPrefix: demoPrefix, Rooms: demoRooms, Window: i.cfg.Heat.Window.D(),
		Weighed: i.cfg.Heat.Weights != configs.Default().Heat.Weights,
	})
}

// openDemoRooms makes the demo's rooms where they are missing. What fails is logged: the chat does not depend on it.
func (i *Instance) openDemoRooms(ctx context.Context) {
	for _, room := range demoRooms {
		_, err := i.groups.Create(ctx, domain.Actor{Key: "demo"}, domain.NewGroup{ID: room, Type: domain.Room, Name: room})
		var known *domain.Error
		if errors.As(err, &known) && known.Code == domain.CodeConflict {
			continue // an earlier start, or another instance, has made it
		}
		if err != nil {
			i.log.Warn().Err(err).Str("group", room).Msg("room of the demo is not there")
		}
	}
}
