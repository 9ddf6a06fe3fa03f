// Package bots are the demo's inhabitants: users who wander from room to room and talk at uneven rates, over the
// public WebSocket API like everybody else.
package bots

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	defaultPace = 8 * time.Second
	paceOfOne   = 400 * time.Millisecond // times Count: all together say no more than 2.5 messages/s
)

// Config is how many talk where.
type Config struct {
	// URLs are base URLs of instances, such as http://127.0.0.1:8080; the bots spread over them.
	URLs  []string
	Count int
	// Rooms have to exist, unless the server creates them on subscribe.
	Rooms []string
	// Token is asked for a fresh token at every connect, by several goroutines.
	Token func(user string) string
	// Pace is how long a bot waits between two messages on average. Zero: 8 s, and more when there are over 20 bots.
	Pace time.Duration
	Log  zerolog.Logger
}

// Run lets the bots talk until ctx ends, and returns nil then. A bot whose connection is lost comes back, unless the
// server said not to (close codes 4500 to 4999, a connect refused with 401, 403 or 409).
func Run(ctx context.Context, cfg Config) error {
	if len(cfg.URLs) == 0 || len(cfg.Rooms) == 0 || cfg.Token == nil {
		return errors.New("bots: URLs, Rooms and Token are required")
	}
	if cfg.Pace == 0 {
		cfg.Pace = max(defaultPace, time.Duration(cfg.Count)*paceOfOne)
	}
	town := newTown(cfg.Rooms, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	var all sync.WaitGroup
	for n := range cfg.Count {
		b := &bot{
			cfg: cfg, town: town, user: nameOf(n), arrived: make(chan string),
			random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		}
		all.Go(func() { b.run(ctx, n) })
	}
	all.Wait()
	<-ctx.Done() // also when the server sent every bot away
	return nil
}

var names = []string{
	"ada", "bela", "chen", "dara", "elif", "femi", "greta", "hana", "igor", "juno", "kofi", "lena",
	"mika", "noor", "oskar", "pia", "quinn", "rosa", "sami", "tove", "uma", "vito", "wren", "yuki",
}

func nameOf(n int) string {
	name := "bot-" + names[n%len(names)]
	if n >= len(names) {
		name = fmt.Sprintf("%s-%d", name, n/len(names)+1)
	}
	return name
}
