package domain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Remains is what Redis still knows of a group after MySQL was put back to an older state.
type Remains struct {
	Group    string
	Top      int64     // the highest seq of any generation
	Messages []Message // recent ones, by seq; without GroupType where that is not known
	Holes    Holes     // of the latest generation: what lies in them was given up
	Marks    map[string]int64
	Recalls  []Recall // those of Messages are tombstones
	// LostGens are the generations that Redis has seen and MySQL may not have: in each the group may have begun a jump higher.
	// Where its floor was raised before, they are in it.
	LostGens int64
}

// RaisedFloor is what was done for a group.
type RaisedFloor struct {
	Group   string `json:"group"`
	Top     int64  `json:"top"`      // how far MySQL accounted for seqs
	Floor   int64  `json:"floor"`    // how far it does now
	Back    int    `json:"back"`     // messages written back
	NotBack int    `json:"not_back"` // those whose seq has another message by now
	Unknown bool   `json:"unknown"`  // MySQL does not have the group any more
}

// RemainsCache is the Redis side of the repair of floors.
type RemainsCache interface {
	ObserveAll(ctx context.Context) ([]Observed, error)
	// Living names the instances that live.
	Living(ctx context.Context) ([]string, error)
	// Remaining are all groups that Redis knows, and in which generations.
	Remaining(ctx context.Context) (map[string][]int64, error)
	RemainsOf(ctx context.Context, group string, gens []int64) (Remains, error)
	// Logs are all write-behind logs that are not empty.
	Logs(ctx context.Context) ([]LogRange, error)
	// EachEntries goes through a log, some entries at a time.
	EachEntries(ctx context.Context, log LogRange, found func([]LogEntry) error) error
	Committed(ctx context.Context, batches []LogBatch) error
	SetAside(ctx context.Context, partition int, gen int64) error
	// ForgetGroups drops the cached groups, members and lists of users' groups: MySQL has older ones now.
	ForgetGroups(ctx context.Context) error
}

// FloorStore is the MySQL side.
type FloorStore interface {
	// Living names the instances that live.
	Living(ctx context.Context) ([]string, error)
	AuditPage(ctx context.Context, after string, limit, maxMembers int) ([]string, error)
	KnownGroups(ctx context.Context, groups []string) (map[string]bool, error)
	// RaiseGeneration makes a generation above what MySQL and Redis say, unless that was done and nobody has started since.
	// Where Redis knows less than MySQL, it has forgotten what MySQL has, too: then groups that are made from now on start
	// above 0. With dry it only tells.
	RaiseGeneration(ctx context.Context, partition int, redis int64, dry bool) (before, after Generation, err error)
	// WriteBack stores messages that have no row and lie in no hole, whatever their generation; left counts the others.
	WriteBack(ctx context.Context, messages []Message) (left int, err error)
	// RecallMessages empties rows that were recalled.
	RecallMessages(ctx context.Context, recalls []Recall) error
	// RaiseFloor writes back what remains of a group, and makes sure that gen and those behind it start above all that may
	// have been given. Doing it again changes nothing. With dry it only tells.
	RaiseFloor(ctx context.Context, gen int64, r Remains, dry bool) (RaisedFloor, error)
}

// FloorRepair makes seqs go on above everything that may have been given, after MySQL was restored from a backup. No
// instance may live meanwhile.
type FloorRepair struct {
	Store      FloorStore
	Cache      RemainsCache // nil: Redis is gone for good
	Partitions Partitions
	Dry        bool
	Force      bool // although instances live
	// Raised and Generation are told what was done, or with Dry what would be.
	Raised     func(RaisedFloor)
	Generation func(partition int, before, after Generation)

	gens      []int64            // of the partitions, as raised
	lostGens  []int64            // see Remains
	remaining map[string][]int64 // see RemainsCache
}

const repairPage = 50 // groups

// errLiving tells what to do.
var errLiving = errors.New("instances live: stop them first (one that was killed counts for 15 s)")

// Run repairs. It may be broken off and run again.
func (f *FloorRepair) Run(ctx context.Context) error {
	if err := f.nobodyLives(ctx); err != nil {
		return err
	}
	if err := f.raiseGenerations(ctx); err != nil {
		return err
	}
	if f.Cache != nil {
		var err error
		if f.remaining, err = f.Cache.Remaining(ctx); err != nil {
			return err
		}
	}
	for after := ""; ; {
		groups, err := f.Store.AuditPage(ctx, after, repairPage, 1<<30)
		if err != nil {
			return err
		}
		if len(groups) == 0 {
			break
		}
		if err := f.raise(ctx, groups, false); err != nil {
			return err
		}
		after = groups[len(groups)-1]
	}
	if f.Cache == nil {
		return nil
	}
	if err := f.raiseUnknown(ctx); err != nil || f.Dry {
		return err
	}
	if err := f.clearLogs(ctx); err != nil {
		return err
	}
	return f.Cache.ForgetGroups(ctx)
}

func (f *FloorRepair) nobodyLives(ctx context.Context) error {
	if f.Force {
		return nil
	}
	living, err := f.Store.Living(ctx)
	if err == nil && f.Cache != nil {
		var more []string
		more, err = f.Cache.Living(ctx)
		living = append(living, more...)
	}
	if err == nil && len(living) > 0 {
		err = fmt.Errorf("%w: %v", errLiving, slices.Compact(slices.Sorted(slices.Values(living))))
	}
	return err
}

// raiseGenerations comes first: what an instance that was overlooked still wants to insert is refused from then on.
func (f *FloorRepair) raiseGenerations(ctx context.Context) (err error) {
	observed := make([]Observed, f.Partitions)
	if f.Cache != nil {
		if observed, err = f.Cache.ObserveAll(ctx); err != nil {
			return err
		}
	}
	f.gens, f.lostGens = make([]int64, f.Partitions), make([]int64, f.Partitions)
	for p := range f.gens {
		before, after, err := f.Store.RaiseGeneration(ctx, p, observed[p].Gen, f.Dry)
		if err != nil {
			return err
		}
		f.gens[p], f.lostGens[p] = after.Gen, max(0, observed[p].Gen-before.Gen)
		if before != after {
			f.Generation(p, before, after)
		} else { // by a run that was broken off: what MySQL had before is gone, and may have been nothing
			f.lostGens[p] = observed[p].Gen
		}
	}
	return nil
}

// clearLogs takes what is stored now off the logs, so that the next start does not find it too late. What is recent had
// all of it; where that is not so, the log is set aside.
func (f *FloorRepair) clearLogs(ctx context.Context) error {
	logs, err := f.Cache.Logs(ctx)
	for _, log := range logs {
		if err == nil {
			err = f.clearLog(ctx, log)
		}
	}
	return err
}

func (f *FloorRepair) clearLog(ctx context.Context, log LogRange) error {
	left := 0
	err := f.Cache.EachEntries(ctx, log, func(entries []LogEntry) error {
		messages, recalls := Unlogged(entries)
		ApplyRecalls(messages, recalls)
		n, err := f.Store.WriteBack(ctx, messages)
		left += n
		if err == nil && len(recalls) > 0 {
			err = f.Store.RecallMessages(ctx, recalls)
		}
		return err
	})
	if err != nil {
		return err
	}
	if left > 0 {
		return f.Cache.SetAside(ctx, log.Partition, log.Gen)
	}
	return f.Cache.EachEntries(ctx, log, func(entries []LogEntry) error {
		return f.Cache.Committed(ctx, []LogBatch{{LogRange: log, Entries: entries}})
	})
}

// raiseUnknown does for groups that only Redis knows what was done for the others: one of the same id may be made again.
func (f *FloorRepair) raiseUnknown(ctx context.Context) error {
	for groups := range slices.Chunk(slices.Sorted(maps.Keys(f.remaining)), repairPage) {
		known, err := f.Store.KnownGroups(ctx, groups)
		if err != nil {
			return err
		}
		unknown := slices.DeleteFunc(slices.Clone(groups), func(g string) bool { _, ok := known[g]; return ok })
		if err := f.raise(ctx, unknown, true); err != nil {
			return err
		}
	}
	return nil
}

func (f *FloorRepair) raise(ctx context.Context, groups []string, unknown bool) error {
	for _, group := range groups {
		remains := Remains{Group: group}
		if gens := f.remaining[group]; len(gens) > 0 {
			var err error
			if remains, err = f.Cache.RemainsOf(ctx, group, gens); err != nil {
				return err
			}
		}
		p := f.Partitions.Of(group)
		remains.LostGens = f.lostGens[p]
		raised, err := f.Store.RaiseFloor(ctx, f.gens[p], remains, f.Dry)
		if err == nil && !f.Dry && len(remains.Recalls) > 0 { // of rows that the backup has as they were sent
			err = f.Store.RecallMessages(ctx, remains.Recalls)
		}
		if err != nil {
			return err
		}
		if raised.Unknown = unknown; raised.Floor > raised.Top || raised.Back > 0 {
			f.Raised(raised)
		}
	}
	return nil
}
