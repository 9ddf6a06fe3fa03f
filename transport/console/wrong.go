package console

import (
	"net"
	"net/http"
	"sync"

	"github.com/go-chi/httprate"
	"golang.org/x/time/rate"
)

const (
	wrongKeysPerS = 3    // of an address, and as many at once
	maxGuessers   = 1000 // addresses that are counted; of more at once all others count together
)

// guesses are the wrong keys of late, by address: nobody who guesses keeps out whoever has a key.
type guesses struct {
	mu   sync.Mutex // guards of; held from the look at a key to what is taken for it
	of   map[string]*rate.Limiter
	rest *rate.Limiter
}

func newGuesses() *guesses {
	return &guesses{of: make(map[string]*rate.Limiter), rest: newGuessRate()}
}

func newGuessRate() *rate.Limiter { return rate.NewLimiter(wrongKeysPerS, wrongKeysPerS) }

// tooMany tells whether no key of an address is looked at for the moment. With mu held, as note.
func (g *guesses) tooMany(address string) bool {
	limiter, known := g.of[address]
	if !known && len(g.of) >= maxGuessers {
		limiter, known = g.rest, true
	}
	return known && limiter.Tokens() < 1
}

// note counts a wrong key.
func (g *guesses) note(address string) {
	if len(g.of) >= maxGuessers {
		for a, limiter := range g.of { // nothing is held against them any more
			if limiter.Tokens() >= wrongKeysPerS {
				delete(g.of, a)
			}
		}
	}
	limiter, known := g.of[address]
	switch {
	case known:
	case len(g.of) >= maxGuessers:
		limiter = g.rest
	default:
		limiter = newGuessRate()
		g.of[address] = limiter
	}
	limiter.Allow()
}

// addressOf is whose requests count together: an address, of IPv6 a /64, which one customer has.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return httprate.CanonicalizeIP(host)
}
