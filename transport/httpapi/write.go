package httpapi

import "net/http"

// WriteError answers with an error as problem+json, for handlers beside this API.
func WriteError(w http.ResponseWriter, err error) { writeError(w, err) }
