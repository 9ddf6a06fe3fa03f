package bots

import (
	"math"
	"math/rand/v2"
	"time"
)

// town knows which rooms are in fashion when. It does not change, so all bots share it.
type town struct {
	rooms []fashion
}

// fashion of a room comes and goes: base is its size, period how long a wave takes.
type fashion struct {
	room   string
	base   float64
	period time.Duration
	phase  float64
}

const (
	shortestWave = 40 * time.Second
	longestWave  = 150 * time.Second
	quietest     = 0.05 // of base, in the trough of a wave: nobody goes there, some stay
)

func newTown(rooms []string, random *rand.Rand) *town {
	t := &town{}
	for i, room := range rooms {
		t.rooms = append(t.rooms, fashion{
			room:   room,
			base:   1 / math.Sqrt(float64(i+1)),
			period: shortestWave + time.Duration(random.Int64N(int64(longestWave-shortestWave))),
			phase:  random.Float64() * 2 * math.Pi,
		})
	}
	return t
}

// pull is how much a room attracts at a time, ≥ 0.
func (f fashion) pull(at time.Time) float64 {
	angle := 2*math.Pi*float64(at.UnixMilli())/float64(f.period.Milliseconds()) + f.phase
	wave := (1 + math.Sin(angle)) / 2
	return f.base * (quietest + (1-quietest)*wave*wave)
}

// choose draws a room, the ones in fashion more often.
func (t *town) choose(at time.Time, random *rand.Rand) string {
	total := 0.0
	for _, f := range t.rooms {
		total += f.pull(at)
	}
	left := random.Float64() * total
	for _, f := range t.rooms {
		if left -= f.pull(at); left < 0 {
			return f.room
		}
	}
	return t.rooms[len(t.rooms)-1].room
}
