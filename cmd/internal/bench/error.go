package bench

import "fmt"

// Kind says why a bench did not end well.
type Kind string

// The kinds, with their exit codes.
const (
	Setup  Kind = "setup"  // 2: a bad setting, or the server refused us by one of its own (key, token, rate limits)
	Missed Kind = "missed" // 3: everything right, but a target was not reached
	Down   Kind = "down"   // 4: the server or a store is not there, stopped answering, or cut us off
	Wrong  Kind = "wrong"  // 5: a promise of the protocol was broken
)

// Error is what a bench returns, but for the error of a cancelled context.
type Error struct {
	Kind Kind
	Err  error
}

func (e *Error) Error() string { return string(e.Kind) + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// ExitCode is the status with which the command ends.
func (e *Error) ExitCode() int {
	switch e.Kind {
	case Setup:
		return 2
	case Missed:
		return 3
	case Down:
		return 4
	case Wrong:
		return 5
	}
	return 1
}

func errorf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// refusal is an error answer of the server, on HTTP or the WebSocket.
func refusal(what, code, message string) error {
	switch code {
	case "unavailable", "overloaded", "internal":
		return errorf(Down, "%s: %s: %s", what, code, message)
	case "rate_limited":
		return errorf(Setup, "%s: %s: %s (a bench needs a server with HEARTH_LIMITS_USER_RATE, HEARTH_LIMITS_GROUP_RATE and "+
			"HEARTH_LIMITS_CONNECTION_RATE set to 0)", what, code, message)
	}
	return errorf(Setup, "%s: %s: %s", what, code, message)
}
