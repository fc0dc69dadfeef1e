"""Files of audio: fetching their bytes within limits, checking that they are whole, decoding them."""
