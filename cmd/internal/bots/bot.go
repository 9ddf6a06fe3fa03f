package bots

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"hearth/transport/client"
)

const visitMessages = 4 // in one room before moving on, on average

// bot is one user. All but the client belongs to the goroutine of wander.
type bot struct {
	cfg     Config
	town    *town
	user    string
	random  *rand.Rand
	client  *client.Client
	arrived chan string // rooms that the bot is in now, or not let into
}

// run stays connected until ctx ends or the server sends the bot away for good.
func (b *bot) run(ctx context.Context, server int) {
	pause(ctx, b.upTo(b.cfg.Pace/4)) // not all in the same moment
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	arrive := func(room string) {
		select {
		case b.arrived <- room:
		case <-ctx.Done():
		}
	}
	first := server % len(b.cfg.URLs)
	c, err := client.New(client.Config{
		URLs:         slices.Concat(b.cfg.URLs[first:], b.cfg.URLs[:first]),
		Token:        func(context.Context) (string, error) { return b.cfg.Token(b.user), nil },
		OnLive:       arrive,
		OnGroupError: func(room string, _ error) { arrive(room) },
		OnState:      b.note,
	})
	if err != nil {
		b.cfg.Log.Error().Err(err).Str("user", b.user).Msg("bot does not start")
		return
	}
	b.client = c
	var wandering sync.WaitGroup
	wandering.Go(func() { b.wander(ctx) })
	if err := c.Run(ctx); err != nil {
		b.cfg.Log.Warn().Err(err).Str("user", b.user).Msg("bot was sent away")
	}
	cancel()
	wandering.Wait()
}

func (b *bot) note(s client.State) {
	if !s.Connected {
		b.cfg.Log.Debug().Err(s.Err).Str("user", b.user).Msg("bot lost its connection")
	}
}

// wander goes from room to room and talks.
func (b *bot) wander(ctx context.Context) {
	room, quiet := "", b.upTo(b.cfg.Pace) // everybody says hello soon
	for left := 0; ctx.Err() == nil; left-- {
		if left <= 0 {
			next, messages := b.nextStay(time.Now())
			b.move(ctx, room, next)
			room, left = next, messages
		}
		b.rest(ctx, quiet)
		b.talk(ctx, room)
		quiet = b.nextPause()
	}
}

// nextStay is where to go at a time, and how much to say there.
func (b *bot) nextStay(at time.Time) (room string, messages int) {
	return b.town.choose(at, b.random), 1 + b.random.IntN(2*visitMessages-1)
}

// nextPause is Pace on average, and uneven: three quick sentences, then a long silence.
func (b *bot) nextPause() time.Duration {
	quick := b.cfg.Pace / 4
	if b.random.IntN(3) > 0 {
		return quick/2 + b.upTo(quick)
	}
	return b.cfg.Pace + b.upTo(3*b.cfg.Pace)
}

func (b *bot) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(b.random.Int64N(int64(d)))
}

// move leaves one room and waits until it is in another; "" is none.
func (b *bot) move(ctx context.Context, from, to string) {
	if from == to {
		return
	}
	if from != "" {
		b.client.Unfollow(from)
	}
	b.client.Follow(to, client.FromHere)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case room := <-b.arrived:
			if room == to {
				return
			}
		}
	}
}

// rest takes note of rooms meanwhile: the bot arrives again with every new connection.
func (b *bot) rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-b.arrived:
		}
	}
}

// talk says something; what is refused is not missed.
func (b *bot) talk(ctx context.Context, room string) {
	sentence := sentences[b.random.IntN(len(sentences))]
	if _, err := b.client.Send(ctx, client.Draft{Group: room, Body: client.Text(sentence)}); err != nil && ctx.Err() == nil {
		b.cfg.Log.Debug().Err(err).Str("user", b.user).Str("group", room).Msg("bot was not heard")
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
