package configs

import (
	"fmt"
	"strings"
	"time"
)

// Duration is a time.Duration that is written "250ms", "5m" or "1h30m" in the file and the environment.
type Duration time.Duration

// D is the duration as the standard library takes it.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String leaves out the units that are zero: "5m", not "5m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes the form that UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText refuses a number without a unit: nobody remembers whether it was seconds.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration: write a number with its unit, such as 250ms, 10s or 5m", text)
	}
	*d = Duration(v)
	return nil
}
