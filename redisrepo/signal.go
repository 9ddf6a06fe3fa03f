package redisrepo

import (
	"context"
	"encoding/json"
	"fmt"

	"hearth/domain"
)

// Signal hands a signal to the group's subscribers; see domain.SignalStore. A command whose reply was lost is not
// repeated: nobody gets a signal twice.
func (s *Store) Signal(ctx context.Context, sig domain.Signal) (domain.SignalOutcome, error) {
	p, gen := s.of(sig.Group)
	if s.journal.Over(sig.Group, gen) { // who may speak, an old master does not know
		return domain.SignalOutcome{Missing: domain.MissingGeneration, Partition: p, Gen: gen}, nil
	}
	keys := []string{genKey(p), groupKey(p, sig.Group), seqKey(p, gen), directKey(p, gen)}
	kind, except := "u", "-"
	if sig.Operator != "" {
		kind = "s"
	}
	if sig.Except != "" {
		except = sig.Except
	}
	word, err := signalScript.Run(ctx, s.appends, keys, gen, s.cfg.Identity, groupChannel(p, sig.Group), sig.Group, sig.From,
		kind, except, signalEvent(sig)).Text()
	if err != nil {
		return domain.SignalOutcome{}, fmt.Errorf("signal in %s: %w", sig.Group, err)
	}
	outcome := domain.SignalOutcome{Partition: p, Gen: gen}
	switch word {
	case "OK":
	case "LOAD":
		outcome.Missing = domain.MissingGroup
	case "RESEED":
		outcome.Missing = domain.MissingSeed
	case "STALE":
		outcome.Missing = domain.MissingGeneration
	default:
		if err := refusal(word); err != nil {
			return domain.SignalOutcome{}, err
		}
		return domain.SignalOutcome{}, fmt.Errorf("signal script answered %q", word)
	}
	return outcome, nil
}

// signalEvent is the event as clients get it, up to the time that the script puts behind it.
func signalEvent(sig domain.Signal) []byte {
	kind, _ := json.Marshal(sig.Kind) // strings always marshal
	event := make([]byte, 0, 96+len(sig.Group)+len(sig.From)+len(kind)+len(sig.Data))
	event = append(event, `{"event":"signal","group":"`...)
	event = append(event, sig.Group...)
	event = append(event, `","from":"`...)
	event = append(event, sig.From...)
	event = append(event, `","kind":`...)
	event = append(event, kind...)
	if len(sig.Data) > 0 {
		event = append(event, `,"data":`...)
		event = append(event, sig.Data...)
	}
	return append(event, `,"time_ms":`...)
}
