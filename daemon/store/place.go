package store

// SavePlace stores where the table stands: a name of a network namespace of one boot, empty for nowhere.
func (d Dir) SavePlace(name string) error { return d.seal(placeFile, just([]byte(name))) }

// Place returns what SavePlace wrote, with LastGood's errors.
func (d Dir) Place() (string, error) {
	body, err := d.unseal(placeFile)
	return string(body), err
}
