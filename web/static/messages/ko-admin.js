// The admin page's words in Korean, by their English.
export default {
};
