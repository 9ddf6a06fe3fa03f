package bots

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestFashionChanges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		town := newTown([]string{"a", "b", "c", "d", "e", "f"}, random)
		start := time.UnixMilli(rapid.Int64Range(1_700_000_000_000, 1_900_000_000_000).Draw(t, "start"))
		orders := map[string]bool{}
		for second := range 180 {
			at := start.Add(time.Duration(second) * time.Second)
			order := slices.Clone(town.rooms)
			slices.SortFunc(order, func(x, y fashion) int {
				if x.pull(at) > y.pull(at) {
					return -1
				}
				return 1
			})
			key := ""
			for _, f := range order {
				require.GreaterOrEqual(t, f.pull(at), 0.0)
				key += f.room
			}
			orders[key] = true
		}
		require.Greater(t, len(orders), 3, "orders of the rooms within three minutes")
	})
}

// The board of the demo has to move within 30 s, and to go on moving. This plays twelve bots on a clock of their own.
func TestTheBoardMoves(t *testing.T) {
	t.Parallel()
	const long = 10 * time.Minute
	for seed := range uint64(20) {
		changes, messages := play(rand.New(rand.NewPCG(seed, 2)), 12, long)
		require.NotEmpty(t, changes, "seed %d", seed)
		require.LessOrEqual(t, changes[0], 30*time.Second, "seed %d: first change of the ranking", seed)
		require.Greater(t, len(changes), 40, "seed %d: changes in %s", seed, long)
		require.InDelta(t, long.Seconds()*12/defaultPace.Seconds(), messages, 200, "seed %d: messages in %s", seed, long)
	}
}

// life is a bot as far as play goes.
type life struct {
	bot  *bot
	room string
	left int // messages in this room
	next time.Duration
}

// play returns when the board, asked every 2 s, showed another order of the rooms, and how many messages there were.
func play(random *rand.Rand, count int, long time.Duration) (changes []time.Duration, messages int) {
	start := time.UnixMilli(1_800_000_000_000)
	town := newTown([]string{"lobby", "music", "football", "cooking", "night-owls", "go"}, random)
	lives := make([]life, count)
	for i := range lives {
		b := &bot{cfg: Config{Pace: defaultPace}, town: town, random: random}
		lives[i] = life{bot: b, next: b.upTo(defaultPace/4) + b.upTo(defaultPace)}
		lives[i].room, lives[i].left = b.nextStay(start)
	}
	spoke := map[string]map[int]time.Duration{} // room → bot → when last
	var before []string
	for now := time.Duration(0); now < long; now += 100 * time.Millisecond {
		for i := range lives {
			l := &lives[i]
			if l.next > now {
				continue
			}
			if spoke[l.room] == nil {
				spoke[l.room] = map[int]time.Duration{}
			}
			spoke[l.room][i] = now
			messages++
			if l.left--; l.left == 0 {
				l.room, l.left = l.bot.nextStay(start.Add(now))
			}
			l.next = now + l.bot.nextPause()
		}
		if now%(2*time.Second) != 0 {
			continue
		}
		order := ranking(spoke, now)
		if before != nil && !slices.Equal(before, order) {
			changes = append(changes, now)
		}
		before = order
	}
	return changes, messages
}

// ranking is that of PROTOCOL.md §6: by distinct speakers of 5 minutes, then by the last message.
func ranking(spoke map[string]map[int]time.Duration, now time.Duration) []string {
	type place struct {
		room string
		heat int
		last time.Duration
	}
	var places []place
	for room, speakers := range spoke {
		p := place{room: room}
		for _, at := range speakers {
			p.last = max(p.last, at)
			if now-at < 5*time.Minute {
				p.heat++
			}
		}
		if p.heat > 0 {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, func(x, y place) int {
		return cmp.Or(cmp.Compare(y.heat, x.heat), cmp.Compare(y.last, x.last), cmp.Compare(x.room, y.room))
	})
	var rooms []string
	for _, p := range places {
		rooms = append(rooms, p.room)
	}
	return rooms
}
